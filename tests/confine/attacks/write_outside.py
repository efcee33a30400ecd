open(outside + "/planted", "w").write("x")
