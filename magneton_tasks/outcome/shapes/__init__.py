"""The largest objects drawn in 3D: in the report of a run, and as a still picture beside it.

::

    of_output    which objects, and their meshes from the output      -> Shape
    thinned      so few triangles that a page stays small             -> Shape
    packed       bytes for the page's script (page/shapes.js)
    still        a picture, for paper and for browsers without WebGL
"""
