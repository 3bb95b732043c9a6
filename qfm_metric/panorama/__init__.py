"""Equirectangular pictures, scored as they are looked at: through rectilinear viewports."""
