# In a user namespace below ours, whose root may forbid more of them.
from grader.sandbox import capabilities, namespaces

assert namespaces.enter() == ()
with open("/proc/sys/user/max_user_namespaces", "w") as limit:
    limit.write("0")
capabilities.drop()
result = namespaces.enter()
