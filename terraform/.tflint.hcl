plugin "terraform" {
  enabled = true
  preset  = "all"
}

# An environment is one root module, split into files by subject.
rule "terraform_standard_module_structure" {
  enabled = false
}

# A module that only calls public modules still states which provider version they must work with.
rule "terraform_unused_required_providers" {
  enabled = false
}
