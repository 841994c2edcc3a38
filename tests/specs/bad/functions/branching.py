from rbcc import primitive


@primitive(units="a -> a")
def positive(x):
    return x if x > 0 else 0
