"""What is wrong with a folder of images: unreadable files, duplicates, leakage between splits, class folders."""
