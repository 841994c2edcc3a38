from rbcc import primitive


@primitive(units="a, a, 1 -> a")
def mine(x, y, weight=0.5):
    return weight * x + (1 - weight) * y
