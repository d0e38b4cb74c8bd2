"""An image classifier, trained by a DVC pipeline that remembers every result."""
