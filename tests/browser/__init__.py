"""What people see, in Chromium: components in a bare page, in JupyterLab, in the served app; the network is off."""
