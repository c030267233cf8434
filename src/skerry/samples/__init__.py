"""Small workloads that `make up` runs. They import only skerry.sdk."""
