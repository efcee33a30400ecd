open(grader_file).read()
