# only
# test_codes_can_be_read_back: failed
#   message: what came back could not be used: Raised: TypeError
#   call: encode('abc')
# test_ignores_a_crash: passed
def encode(text):
    return [c for c in text]
