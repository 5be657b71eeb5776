"""Prints the documents of a YAML file as a JSON list. Kubernetes objects among them are validated against its schemas."""

import json
import sys

import kubernetes_validate
import yaml

# The oldest version that is still common, and the newest that is known.
VERSIONS = ["1.28", "1.37"]

with open(sys.argv[1], encoding="utf-8") as file:
    documents = list(yaml.safe_load_all(file))
for document in documents:
    if "apiVersion" in document:
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)
print(json.dumps(documents))
