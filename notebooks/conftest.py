"""What the notebooks need when pytest runs them."""

import os

# The kernels inherit it: a progress bar's text is another one in each run, and stored outputs are
# compared. A reader's own kernel still shows the bars.
os.environ["TQDM_DISABLE"] = "1"
