"""Minutes of trading that are unlike those before: features, a baseline, scores, and how well the baseline still fits.

The same code runs in the function that follows the trade stream, in SageMaker's container, and offline by
`python -m runtime.anomaly`.
"""
