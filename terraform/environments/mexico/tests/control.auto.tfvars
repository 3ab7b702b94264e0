# A managed region is told where Argo CD comes from.
control_addresses = ["198.51.100.7", "198.51.100.8", "198.51.100.9"]
