open(library_file, "a")
