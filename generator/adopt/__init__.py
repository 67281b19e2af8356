"""An existing model repository becomes specs that render to equal ModelConfigs.

`adopt.adopt` reads, drafts and verifies, all in memory; `put.put` writes. What has no name in a spec stands under
`config`, and what cannot be carried is a problem: nothing is dropped silently.
"""
