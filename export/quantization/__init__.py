"""fp32 to int8: calibration, static quantisation and its gate."""
