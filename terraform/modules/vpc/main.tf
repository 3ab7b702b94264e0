# Three tiers over three zones. The public tier has a route to and from the internet, the private tier a route out
# through NAT, and the database tier has neither.

locals {
  zones = range(length(var.availability_zones))

  subnets = {
    private  = [for zone in local.zones : cidrsubnet(var.cidr, 3, zone)] # /19: every pod has an address of its own
    public   = [for zone in local.zones : cidrsubnet(var.cidr, 8, 96 + zone)]
    database = [for zone in local.zones : cidrsubnet(var.cidr, 8, 112 + zone)]
  }

  nat_gateways = var.nat_per_zone ? length(var.availability_zones) : 1

  settings = {
    name             = var.name
    cidr             = var.cidr
    azs              = var.availability_zones
    private_subnets  = local.subnets.private
    public_subnets   = local.subnets.public
    database_subnets = local.subnets.database

    enable_dns_hostnames    = true
    enable_dns_support      = true
    map_public_ip_on_launch = false

    enable_nat_gateway     = true
    single_nat_gateway     = !var.nat_per_zone
    one_nat_gateway_per_az = var.nat_per_zone
    reuse_nat_ips          = true

    create_database_subnet_group           = true
    create_database_subnet_route_table     = true
    create_database_internet_gateway_route = false
    create_database_nat_gateway_route      = false

    manage_default_security_group  = true
    default_security_group_ingress = []
    default_security_group_egress  = []

    # The load balancer controller finds its subnets by these tags.
    public_subnet_tags = {
      "kubernetes.io/role/elb"                    = "1"
      "kubernetes.io/cluster/${var.cluster_name}" = "shared"
    }
    private_subnet_tags = { "kubernetes.io/role/internal-elb" = "1" }

    flow_log_traffic_type = "ALL"
    flow_log_retention    = var.log_retention_days
    flow_log_kms_key      = var.logs_key_arn

    # The services' own names resolve to the endpoints, so clients need no settings.
    endpoint_private_dns = true
  }

  # Not in the settings above: the network is made from those, and this group needs the network.
  endpoint_security_groups = [aws_security_group.endpoints.id]

  # AWS services that nodes and pods reach without leaving the network.
  interface_endpoints = ["ecr.api", "ecr.dkr", "sts", "secretsmanager", "logs"]

  endpoints = merge(
    { for service in local.interface_endpoints : service => {
      service             = service
      private_dns_enabled = local.settings.endpoint_private_dns
    } },
    { s3 = {
      service         = "s3"
      service_type    = "Gateway"
      route_table_ids = module.vpc.private_route_table_ids
    } },
  )
}

# Outside the network's module, so that a small first apply can make them: the other region's cluster allows these
# addresses.
resource "aws_eip" "nat" {
  #checkov:skip=CKV2_AWS_19:The network's module gives them to its NAT gateways
  count = local.nat_gateways

  domain = "vpc"
  tags   = { Name = "${var.name}-nat-${var.availability_zones[count.index]}" }
}

module "vpc" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "6.6.0"

  name             = local.settings.name
  cidr             = local.settings.cidr
  azs              = local.settings.azs
  private_subnets  = local.settings.private_subnets
  public_subnets   = local.settings.public_subnets
  database_subnets = local.settings.database_subnets

  enable_dns_hostnames    = local.settings.enable_dns_hostnames
  enable_dns_support      = local.settings.enable_dns_support
  map_public_ip_on_launch = local.settings.map_public_ip_on_launch

  enable_nat_gateway     = local.settings.enable_nat_gateway
  single_nat_gateway     = local.settings.single_nat_gateway
  one_nat_gateway_per_az = local.settings.one_nat_gateway_per_az
  reuse_nat_ips          = local.settings.reuse_nat_ips
  external_nat_ip_ids    = aws_eip.nat[*].id

  create_database_subnet_group           = local.settings.create_database_subnet_group
  create_database_subnet_route_table     = local.settings.create_database_subnet_route_table
  create_database_internet_gateway_route = local.settings.create_database_internet_gateway_route
  create_database_nat_gateway_route      = local.settings.create_database_nat_gateway_route

  manage_default_security_group  = local.settings.manage_default_security_group
  default_security_group_ingress = local.settings.default_security_group_ingress
  default_security_group_egress  = local.settings.default_security_group_egress

  public_subnet_tags  = local.settings.public_subnet_tags
  private_subnet_tags = local.settings.private_subnet_tags
}

module "flow_log" {
  source  = "terraform-aws-modules/vpc/aws//modules/flow-log"
  version = "6.6.0"

  name                                   = "${var.name}-flow"
  vpc_id                                 = module.vpc.vpc_id
  traffic_type                           = local.settings.flow_log_traffic_type
  cloudwatch_log_group_name              = "/aws/vpc/${var.name}/flow"
  cloudwatch_log_group_use_name_prefix   = false
  cloudwatch_log_group_retention_in_days = local.settings.flow_log_retention
  cloudwatch_log_group_kms_key_id        = local.settings.flow_log_kms_key
}

resource "aws_security_group" "endpoints" {
  #checkov:skip=CKV2_AWS_5:The endpoints' module attaches it
  name        = "${var.name}-endpoints"
  description = "HTTPS from the private subnets to the AWS endpoints of this network"
  vpc_id      = module.vpc.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = length(local.subnets.private)

  security_group_id = aws_security_group.endpoints.id
  description       = "HTTPS from a private subnet"
  cidr_ipv4         = local.subnets.private[count.index]
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

module "endpoints" {
  source  = "terraform-aws-modules/vpc/aws//modules/vpc-endpoints"
  version = "6.6.0"

  vpc_id             = module.vpc.vpc_id
  subnet_ids         = module.vpc.private_subnets
  security_group_ids = local.endpoint_security_groups
  endpoints          = local.endpoints
}
