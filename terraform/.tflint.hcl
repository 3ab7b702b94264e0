plugin "terraform" {
  enabled = true
  preset  = "all"
}

# An environment is one root in several files, by subject.
rule "terraform_standard_module_structure" {
  enabled = false
}

# A module that only calls public ones still says which provider they have to be content with.
rule "terraform_unused_required_providers" {
  enabled = false
}
