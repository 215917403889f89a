"""HL7 v2 over MLLP: messages become facts and operation codes."""
