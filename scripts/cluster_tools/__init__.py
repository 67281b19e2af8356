"""The real tools that tests/cluster checks the chart with, built from source at pinned versions and kept.

    python -m scripts.cluster_tools

Go's modules bring etcd, the API server, the controllers and the scheduler of Kubernetes, kubectl, kwok (which plays
the nodes), kubeconform and helm-unittest; go/go.mod and go/go.sum pin them. scanner/ does so for dockle, which scans
images. crds.py and schemas.py add the custom resources that the chart makes, and the JSON schemas by which
kubeconform knows every kind without a network.
"""
