"""Images as one tensor: data sets by name, folders, pictures, downloads."""
