"""Images in tar shards of WebDataset's convention: written from a folder, counted, checked, and read as a stream."""
