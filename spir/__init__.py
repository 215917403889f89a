"""SPIR: one access policy for HL7 v2, DICOM and FHIR. This package is the core: pure, no I/O."""
