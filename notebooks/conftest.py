"""What the notebooks need when pytest runs them, and how their stored outputs are made."""

import os

# To run the notebooks anew and store what they show, but neither the time of day nor the version
# of Python, in the project's folder:
#
#   export TQDM_DISABLE=1 KEEP="{'kernelspec', 'widgets', ('language_info', 'name')}"
#   jupyter nbconvert --to notebook --execute --inplace \
#       --ExecutePreprocessor.record_timing=False --ClearMetadataPreprocessor.enabled=True \
#       --ClearMetadataPreprocessor.preserve_nb_metadata_mask="$KEEP" \
#       notebooks/*.ipynb notebooks/solutions/*.ipynb

# The kernels inherit it: a progress bar's text is another one in each run, and stored outputs are
# compared. A reader's own kernel still shows the bars.
os.environ["TQDM_DISABLE"] = "1"
