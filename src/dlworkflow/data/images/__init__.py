"""Images: opening and decoding, transforms and augmentations, the cache of decoded images, the data set of files."""
