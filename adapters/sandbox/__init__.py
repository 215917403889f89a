"""A small embedded PACS and FHIR store for the demo and tests. Never for patients."""
