"""dat_spect: striatal dopamine transporter on I-123 ioflupane SPECT, binding ratios and readable features."""
