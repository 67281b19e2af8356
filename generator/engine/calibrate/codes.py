"""The stable codes of this stage."""

CODES = {
    "TK940": "There is nothing to calibrate with",
    "TK941": "A calibration sample has other inputs than the model",
    "TK942": "A calibration sample has another type than the model's input",
    "TK943": "A calibration sample has another shape than the model's input",
    "TK944": "A calibration sample holds NaN or infinity",
    "TK945": "There are few calibration samples, or ranges cut off many values",
    "TK946": "The way to calibrate is unknown or its number is out of range",
    "TK947": "The model cannot be run for calibration",
    "TK948": "Saved ranges cannot be read",
    "TK949": "Calibration and accuracy use the same items",
}
