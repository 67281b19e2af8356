"""The mean of an image."""


class Shade:
    def run(self, tensors, fail):
        return {}
