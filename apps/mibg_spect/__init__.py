"""mibg_spect: heart, lungs and liver on I-123 MIBG SPECT, with counts, ratios and washout."""
