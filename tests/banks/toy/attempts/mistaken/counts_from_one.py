# test_rows_count_up: failed
#   mistake: None
def rows(n):
    return [i + 1 for i in range(n)]
