"""What a folder or a CSV of images holds: its layout, its class names, its rows. Opens no image."""
