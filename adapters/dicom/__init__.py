"""DICOM: upper layer, DIMSE, query, retrieve and store, as a proxy in front of a PACS."""
