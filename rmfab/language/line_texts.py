"""The messages of the line that are translated: what `rmfab.line` says to an operator, with `{}` for what varies, and
the words of its steps and labels.

A message comes out of the line as a finished text; `Speech.said` finds the one that it was made of. A test looks for
the fixed parts of each in the code of the line, so that a message which is changed there is changed here.
"""

from __future__ import annotations

REQUEST_TEXTS = (
    "insert a board",
    "remove the board and insert the next one",
    "fix the port, then insert the same board again",
    "remove the board, fix the cause of the error, then insert the same board again",
)
"""What the line asks the operator to do with a slot."""
LINE_TEXTS = (
    *REQUEST_TEXTS,
    "the batch is finished: insert no more boards",
    "stop: {what}; call the owner",
    "stop: {what}; keep this board apart, call the owner",
    "{left} left in {where}",
    "{number} identities",
    "no identities",
    "one identity",
    "batch {name}",
    "the batches of this product",
    "scan or type the code of this board",
    "slot {name} does not wait for a code",
    "restart the board now: this slot has no restart lines",
    "waiting",
    "waiting: {what}",
    "close the fixture",
    "a board may be in the slot but does not answer ({cause})",
    "there is no such port yet; if it does not come with a board, see `rmfab ports`",
    "{why}; units wait until it is back, and nothing is lost: do not take them out",
    "the ledger's server is back",
    "the ledger is back, and has what was done meanwhile",
    "{why}; ledger away since {time}, {left} left in this station's lease",
    "{left} left in this station's lease, and the ledger is still away",
    "this board keeps its identity {serial} of batch {batch}",
    "cannot restart the board: {error}",
    "cannot write the console log: {error}",
    "cannot record the verdict in the ledger: {error}",
    "the unit still holds the factory network ({reason}); use `rmfab reset` to remove it",
    "{serial} stays {state}: it was not flashed since; run it again (`rmfab run`)",
    "the printer is ready again",
    "printer {address}: {what}",
    "is there a whole label for {serial}?",
    "{question} y/n, or scan it",
    "scan the label on the board of {serial}",
    "this is the label of {serial} again; scan the label on the board of this slot",
    "{question} p = pass, f = fail",
    "answer with p or f, and Enter",
    "{serial}: printed again; destroy the other label",
    "{serial}: label printed",
    "{serial}: its label is there, so none was printed",
    "{serial}: no label printed: {why}",
    "locked",
    "disabled",
    "{word}: {reason}; this slot starts no board",
    "in service again",
    "{limit} boards in a row ended with {outcome} ({cause}): {guess}",
    "a worn pin?",
    "as on {slots}: parts or release?",
    "{passed} of {whole} boards passed at first, {percent} % on the others: {guess}",
)
STEP_WORDS = (
    "detect",
    "claim",
    "flash",
    "readback",
    "boot",
    "identify",
    "provision",
    "cloud",
    "update",
    "back",
    "reset",
    "recheck",
    "label",
)
"""The steps of rmfab. A product's own are shown as product.toml names them."""
LABEL_WORDS = ("missing", "in doubt", "sent", "printed", "scanned", "made")
"""What is known of a label."""
