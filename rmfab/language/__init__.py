"""The languages of the operator: English, and Simplified Chinese by gettext catalogues (`zh_CN.po`, `zh_CN.causes.po`).

Start with `speech.py`. Only what an operator reads on the line is translated; names of causes, keys of JSON, help
texts and the messages of other commands stay English.
"""
