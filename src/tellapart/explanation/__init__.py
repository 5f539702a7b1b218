"""Why a classifier says what it says: where it looks, what it compares with, what it detects.

- :func:`tellapart.explanation.gradcam.grad_cam`: the places whose features speak for a class.
- :func:`tellapart.explanation.occlusion.occlusion`: the places whose loss changes the answer.
- :func:`tellapart.explanation.kernels.first_kernels`: what the first layer answers to.
- :func:`tellapart.explanation.feature_maps.feature_maps`: what a layer makes of one image.
- :func:`tellapart.explanation.neighbours.nearest`: the training images most like an image.
- :func:`tellapart.explanation.embedding.embed`: all images as points of a plane.
- :mod:`tellapart.explanation.figures`: the same as pictures, arrays in, figure out.
"""
