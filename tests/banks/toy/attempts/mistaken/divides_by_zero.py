# test_mean_of_nothing_is_refused: failed
#   message: raised ZeroDivisionError
#   mistake: id='divides_by_zero'
def mean(values):
    total = count = 0
    for value in values:
        total, count = total + value, count + 1
    return total / count
