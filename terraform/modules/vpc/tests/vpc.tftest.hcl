mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  name               = "payment-latency-api-spain"
  cidr               = "10.10.0.0/16"
  availability_zones = ["eu-south-2a", "eu-south-2b", "eu-south-2c"]
  cluster_name       = "payment-latency-api-spain"
  logs_key_arn       = "arn:aws:kms:eu-south-2:111122223333:key/logs"
}

run "three_tiers_spread_over_three_zones" {
  assert {
    condition = alltrue([
      for tier in [output.settings.private_subnets, output.settings.public_subnets, output.settings.database_subnets] : length(tier) == 3
    ])
    error_message = "A tier does not have three subnets."
  }

  assert {
    condition = length(distinct(concat(
      output.settings.private_subnets, output.settings.public_subnets, output.settings.database_subnets
    ))) == 9
    error_message = "Subnets share addresses."
  }

  # Private: /19 from the bottom (10.10.0.0 to 10.10.95.255); public from .96, database from .112. Nothing overlaps.
  assert {
    condition     = output.settings.private_subnets == ["10.10.0.0/19", "10.10.32.0/19", "10.10.64.0/19"]
    error_message = "The private subnets moved, so running nodes and pods would have to move."
  }

  assert {
    condition     = output.settings.public_subnets == ["10.10.96.0/24", "10.10.97.0/24", "10.10.98.0/24"]
    error_message = "The public subnets moved, but the chart's network policy allows the old ones."
  }

  assert {
    condition     = output.settings.database_subnets == ["10.10.112.0/24", "10.10.113.0/24", "10.10.114.0/24"]
    error_message = "The database subnets moved."
  }
}

run "the_database_has_no_way_to_the_internet" {
  command = plan

  assert {
    condition     = !output.settings.create_database_internet_gateway_route && !output.settings.create_database_nat_gateway_route
    error_message = "The database tier has a route out."
  }

  assert {
    condition     = output.settings.create_database_subnet_route_table
    error_message = "Without a route table of its own, the database tier shares the private one and its NAT route."
  }
}

run "a_nat_gateway_stands_in_every_zone" {
  command = plan

  assert {
    condition     = length(aws_eip.nat) == 3 && output.settings.one_nat_gateway_per_az && !output.settings.single_nat_gateway
    error_message = "There is not one NAT gateway for each zone."
  }

  assert {
    condition     = output.settings.reuse_nat_ips && length(output.nat_addresses) == 3
    error_message = "The gateways do not use the addresses that the other region allows."
  }
}

run "a_single_nat_gateway_by_value" {
  command = plan

  variables { nat_per_zone = false }

  assert {
    condition     = length(aws_eip.nat) == 1 && output.settings.single_nat_gateway && !output.settings.one_nat_gateway_per_az
    error_message = "nat_per_zone = false still makes several gateways."
  }
}

run "nothing_is_open_by_default" {
  command = plan

  assert {
    condition     = output.settings.manage_default_security_group && length(output.settings.default_security_group_ingress) == 0 && length(output.settings.default_security_group_egress) == 0
    error_message = "The default security group allows something."
  }

  assert {
    condition     = !output.settings.map_public_ip_on_launch
    error_message = "Instances get public addresses."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.endpoints : contains(output.settings.private_subnets, rule.cidr_ipv4) && rule.from_port == 443 && rule.to_port == 443])
    error_message = "The endpoints are open to more than HTTPS from the private subnets."
  }
}

run "the_endpoints_stand_behind_their_own_door" {
  assert {
    condition     = join(",", output.endpoint_security_groups) == aws_security_group.endpoints.id
    error_message = "The endpoints do not have their own security group: the network's default group allows nothing."
  }
}

run "images_and_secrets_stay_inside" {
  command = plan

  assert {
    condition     = output.settings.endpoint_private_dns
    error_message = "The services' names do not resolve to the endpoints, so traffic leaves the network."
  }

  assert {
    condition     = toset(output.endpoints) == toset(["ecr.api", "ecr.dkr", "logs", "s3", "secretsmanager", "sts"])
    error_message = "An endpoint is missing: its traffic would go through NAT."
  }
}

run "all_flows_are_logged_and_encrypted" {
  command = plan

  assert {
    condition     = output.settings.flow_log_traffic_type == "ALL" && output.settings.flow_log_kms_key == var.logs_key_arn
    error_message = "Flow logs miss traffic, or are not encrypted with the logs key."
  }

  assert {
    condition     = output.settings.flow_log_retention >= 365
    error_message = "Flow logs are kept for less than a year."
  }
}

run "two_zones_are_refused" {
  command         = plan
  expect_failures = [var.availability_zones]
  variables { availability_zones = ["eu-south-2a", "eu-south-2b", "eu-south-2b"] }
}

run "a_small_network_is_refused" {
  command         = plan
  expect_failures = [var.cidr]
  variables { cidr = "10.10.0.0/24" }
}
