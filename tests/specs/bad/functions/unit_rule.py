from rbcc import primitive


@primitive(units="a, b => a")
def weighted(x, y):
    return x * y
