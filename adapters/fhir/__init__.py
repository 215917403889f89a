"""FHIR R4: a REST facade in front of any R4 server."""
