# Addresses that Argo CD comes from, which a managed region must be told.
control_addresses = ["198.51.100.7", "198.51.100.8", "198.51.100.9"]
