"""The stable codes of this stage."""

CODES = {
    "TK980": "The engine has not been built",
    "TK981": "The engine was built for something else than the spec says now",
    "TK982": "The engine's file is not the one that was built",
    "TK983": "The engine could not be installed",
    "TK984": "There is no accuracy to hold the engine to",
    "TK985": "The ONNX file could not be made",
    "TK986": "The engine is worse than the one that it is compared with",
    "TK987": "The engine cannot be compiled here",
    "TK988": "The pipeline cannot be run without a server, so that its accuracy is not known",
    "TK989": "The shapes that the engine is built for do not fit the graph",
    "TK990": "A precision needs data to calibrate with",
    "TK991": "The calibration set cannot be read",
    "TK992": "An engine that was built elsewhere cannot be taken",
    "TK993": "A setting of the build has no effect",
    "TK994": "An engine that was missing when `auto` was measured can be built here now",
    "TK995": "A plan was compiled that nothing here can judge",
    "TK996": "How much the gate set says of the engine",
}
