from rbcc import primitive


RATE = 0.2


@primitive(units="a -> a")
def after_rate(x):
    return x * (1 - RATE)
