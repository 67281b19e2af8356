{{/* Values that fit the schema and still cannot be deployed. All that is wrong is said at once, a line each. */}}

{{- define "triton.checks" -}}
{{- $found := list -}}
{{- range $check := list "image" "drain" "workload" "server" "ports" "restricted" "repository" "network" "scaling" "monitoring" "engines" "gateway" -}}
{{- range include (printf "triton.check.%s" $check) $ | splitList "\n" -}}
{{- with trim . }}{{ $found = append $found (printf "\n  - %s" .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $found }}{{ fail (printf "these values cannot be deployed:%s\n" (join "" $found)) }}{{ end -}}
{{- end -}}

{{- define "triton.check.image" -}}
{{- with .Values.image }}
{{- $release := include "triton.release" $ | atoi }}
{{- if and (lt $release 2507) (not .allowVulnerable) }}
image.release {{ .release }} has known holes ({{ include "triton.knownHoles" $ }}): take 26.07 or later, or set image.allowVulnerable to true where nobody but you can reach the server
{{- end }}
{{- if lt $release (include "triton.oldestRelease" $ | atoi) }}
image.release is {{ .release }}, and of servers before 24.10 it is not known here which flags they have: one that gets a flag it does not know does not start; take 24.10 or later
{{- end }}
{{- $tagged := regexFind "^[0-9]{2}\\.[0-9]{2}" .tag }}
{{- if and $tagged (ne $tagged .release) (not .digest) }}
image.tag {{ .tag }} is of release {{ $tagged }} and image.release is {{ .release }}: flags are chosen by image.release, so set it to {{ $tagged | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.drain" -}}
{{- $needed := include "triton.drainSeconds" . | atoi }}
{{- $given := include "triton.gracePeriodSeconds" . | atoi }}
{{- with .Values.drain }}
{{- if lt $given $needed }}
drain.terminationGracePeriodSeconds is {{ $given }}, and a pod may take {{ $needed }} s to go (preStop {{ .preStopSeconds }} + exit timeout {{ .exitTimeoutSeconds }} + margin {{ .marginSeconds }}): leave it null, or give it {{ $needed }} or more
{{- end }}
{{- $exit := int .exitTimeoutSeconds }}
{{- $age := int $.Values.server.grpcMaxConnectionAgeMs }}
{{- $grace := int $.Values.server.grpcMaxConnectionAgeGraceMs }}
{{- $pause := mul 1000 (int .preStopSeconds) }}
{{- with $.Values.service.grpc }}
{{- /* gRPC adds up to a tenth to a connection's age. */}}
{{- if and $age .enabled .headless (ge (mul 11 $age) (mul 10 $pause)) }}
server.grpcMaxConnectionAgeMs is {{ $age }}, and gRPC clients that balance over the pods have to leave one that goes within its preStop of {{ $pause }} ms: {{ if gt $pause 2000 }}make it {{ div $pause 2 }} or less{{ else }}raise drain.preStopSeconds to {{ div (add (mul 2 $age) 999) 1000 }}{{ end }}, or set it to 0 where no client does
{{- end }}
{{- end }}
{{- range $.Values.pipelines }}
{{- $longest := default 0 .longestRequestSeconds | float64 }}
{{- if gt $longest (float64 $exit) }}
a request of pipeline {{ .name }} may take {{ $longest }} s, and a server that stops waits {{ $exit }} s for it: raise drain.exitTimeoutSeconds to {{ ceil $longest | int }} or more
{{- end }}
{{- if and $age (gt (mulf $longest 1000) (float64 $grace)) }}
a request of pipeline {{ .name }} may take {{ $longest }} s, and a gRPC connection that has grown old is cut after {{ $grace }} ms: raise server.grpcMaxConnectionAgeGraceMs to {{ mulf $longest 1000 | ceil | int }} or more
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.workload" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "triton.fullname" .)) }}
{{ include "triton.fullname" . | quote }} is no name for a Service, which begins with a letter: set fullnameOverride
{{- end }}
{{- with .Values.workload }}
{{- if and (eq .kind "Deployment") (has (toString .maxSurge) (list "0" "0%")) (has (toString .maxUnavailable) (list "0" "0%")) }}
workload.maxSurge and workload.maxUnavailable are both 0, and no pod could ever be replaced: let one of them be 1
{{- end }}
{{- $startup := mul (int $.Values.probes.startup.periodSeconds) (int $.Values.probes.startup.failureThreshold) }}
{{- if and (eq .kind "Deployment") (le (int .progressDeadlineSeconds) (int $startup)) }}
workload.progressDeadlineSeconds is {{ .progressDeadlineSeconds }}, and probes.startup gives the models {{ $startup }} s to load: a rollout would be given up too early; make it more than {{ $startup }}
{{- end }}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
{{- if or (hasKey $.Values.workload.podLabels $label) (hasKey $.Values.commonLabels $label) }}
the label {{ $label }} is the chart's own: take it out of commonLabels and workload.podLabels (nameOverride names the chart)
{{- end }}
{{- end }}
{{- range .extraVolumes }}
{{- if has .name (list "tmp" "dev-shm" "model-repository") }}
workload.extraVolumes has a volume {{ .name }}, which the chart makes itself: give it another name
{{- end }}
{{- end }}
{{- range .extraEnv }}
{{- if has .name (list "TRITON_RESTRICTED_KEY" "HOME") }}
workload.extraEnv sets {{ .name }}, which the chart sets itself: leave it out
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and .enabled (not (kindIs "invalid" .minAvailable)) (not (kindIs "invalid" .maxUnavailable)) (ne (toString .maxUnavailable) "1") }}
podDisruptionBudget has minAvailable {{ .minAvailable }} and maxUnavailable {{ .maxUnavailable }}, and Kubernetes takes one of them: set the other to null
{{- end }}
{{- if and .enabled (kindIs "invalid" .minAvailable) (kindIs "invalid" .maxUnavailable) }}
podDisruptionBudget has neither minAvailable nor maxUnavailable: set one of them, or enabled to false
{{- end }}
{{- end }}
{{- with .Values.gpu }}
{{- if and .product (eq (int .count) 0) }}
gpu.product is {{ .product }} and gpu.count is 0: a pod without a GPU needs no node that has one; set the count, or product to ""
{{- end }}
{{- range $kind := list "requests" "limits" }}
{{- if hasKey (index $.Values.resources $kind) $.Values.gpu.resource }}
resources.{{ $kind }} has {{ $.Values.gpu.resource }}: say how many in gpu.count
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.resources }}
{{- if and .requests.memory .limits.memory (gt (include "triton.bytes" .requests.memory | float64) (include "triton.bytes" .limits.memory | float64)) }}
resources.requests.memory is {{ ternary (printf "%.0f" .requests.memory) .requests.memory (kindIs "float64" .requests.memory) }} and the limit is {{ ternary (printf "%.0f" .limits.memory) .limits.memory (kindIs "float64" .limits.memory) }}: a pod may not ask for more than it may have
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.server" -}}
{{- with .Values.server }}
{{- if and .loadModels (ne .modelControlMode "explicit") }}
server.loadModels is set and server.modelControlMode is {{ .modelControlMode }}, which loads every model: set the mode to explicit, or leave the list empty
{{- end }}
{{- if and (eq .modelControlMode "explicit") (not .loadModels) }}
server.modelControlMode is explicit and server.loadModels is empty: a pod would be ready without any model; name those to load at the start, or ["*"] for all
{{- end }}
{{- if and (has "*" .loadModels) (gt (len .loadModels) 1) }}
server.loadModels has "*" beside other models, and tritonserver takes "*" alone
{{- end }}
{{- $restricted := $.Values.restrictedApis }}
{{- if and (eq .modelControlMode "explicit") (not (and $restricted.enabled (has "model-repository" $restricted.apis))) }}
server.modelControlMode is explicit and the API model-repository is open: whoever reaches the port could load a model, which is running code; add it to restrictedApis.apis and enable them
{{- end }}
{{- $owners := include "triton.flagOwners" $ | fromYaml }}
{{- range $flag := .extraFlags }}
{{- $name := regexReplaceAll "^--([a-z0-9-]+).*$" $flag "${1}" }}
{{- if hasKey $owners $name }}
server.extraFlags has --{{ $name }}, which the chart sets itself: {{ with index $owners $name }}say it with {{ . }}{{ else }}leave it out{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.ports" -}}
{{- with .Values.ports }}
{{- if lt (list (int .http) (int .grpc) (int .metrics) | uniq | len) 3 }}
ports.http {{ .http }}, ports.grpc {{ .grpc }} and ports.metrics {{ .metrics }} are not three different ports: give each its own
{{- end }}
{{- $service := $.Values.service.grpc }}
{{- if and $service.enabled $service.headless (ne (int $service.port) (int .grpc)) }}
service.grpc is headless, so that clients reach a pod's own port: service.grpc.port {{ $service.port }} and ports.grpc {{ .grpc }} have to be the same
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.restricted" -}}
{{- with .Values.restrictedApis }}
{{- if and .enabled (not .apis) }}
restrictedApis.apis is empty: name what to restrict, or set restrictedApis.enabled to false
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.repository" -}}
{{- with .Values.modelRepository }}
{{- if regexMatch "^/(tmp|dev|proc|sys)(/|$)" .path }}
modelRepository.path is {{ .path }}, and a pod has something else at /{{ regexFind "^/[a-z]+" .path | trimPrefix "/" }}, which would hide the models: take another folder, as in /models
{{- end }}
{{- if and (eq .source "persistentVolumeClaim") (not .persistentVolumeClaim.claimName) }}
modelRepository.source is persistentVolumeClaim, and no claim is named: set modelRepository.persistentVolumeClaim.claimName
{{- end }}
{{- if and (ne .source "persistentVolumeClaim") .persistentVolumeClaim.claimName }}
modelRepository.persistentVolumeClaim names the claim {{ .persistentVolumeClaim.claimName }}, and modelRepository.source is {{ .source }}: set the source to persistentVolumeClaim, or leave the claim out
{{- end }}
{{- if eq .source "objectStore" }}
{{- if not .objectStore.uri }}
modelRepository.source is objectStore, and there is no uri: set modelRepository.objectStore.uri, as in s3://bucket/models
{{- end }}
{{- if not .objectStore.image }}
modelRepository.objectStore.image is empty: name an image with a program that copies (aws for s3://, gcloud for gs://, or your own with a command)
{{- end }}
{{- if and .objectStore.uri (not .objectStore.command) (not (regexMatch "^(s3|gs)://" .objectStore.uri)) }}
the chart knows how to copy s3:// and gs://, and not {{ .objectStore.uri }}: give modelRepository.objectStore.command, where $(MODEL_URI) and $(MODEL_TARGET) stand for the source and the folder
{{- end }}
{{- if and $.Values.networkPolicy.enabled (not $.Values.networkPolicy.extraEgress) }}
modelRepository.source is objectStore, and networkPolicy lets pods reach nothing but DNS: name the store in networkPolicy.extraEgress, as in [{ports: [{port: 443, protocol: TCP}]}]
{{- end }}
{{- else if .objectStore.uri }}
modelRepository.objectStore has the uri {{ .objectStore.uri }}, and modelRepository.source is {{ .source }}: set the source to objectStore, or leave the uri out
{{- end }}
{{- $size := 0 }}
{{- range $path, $contents := .configMap.files }}
{{- $size = add $size (b64dec $contents | len) }}
{{- if or (hasPrefix "/" $path) (has ".." (splitList "/" $path)) (has "." (splitList "/" $path)) (has "" (splitList "/" $path)) (lt (len (splitList "/" $path)) 2) }}
modelRepository.configMap.files has the path {{ $path | quote }}: paths are inside the repository, as in digits/config.pbtxt
{{- end }}
{{- end }}
{{- if gt (int64 $size) 1048576 }}
modelRepository.configMap.files are {{ $size }} bytes, and a ConfigMap holds 1048576: take another modelRepository.source
{{- end }}
{{- if and (eq .source "configMap") (not .configMap.files) }}
modelRepository.source is configMap, and there are no files: put them under modelRepository.configMap.files, or take another source
{{- end }}
{{- if and (ne .source "configMap") .configMap.files }}
modelRepository.configMap has files, and modelRepository.source is {{ .source }}: set the source to configMap, or leave the files out
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.network" -}}
{{- with .Values.networkPolicy }}
{{- if and (not .enabled) (or .ingressFrom .metricsFrom .extraEgress) }}
networkPolicy names peers and is not enabled: set networkPolicy.enabled to true, or leave the peers out
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.scaling" -}}
{{- with .Values.autoscaling }}
{{- if and .hpa.enabled .keda.enabled }}
autoscaling.hpa and autoscaling.keda are both enabled, and would pull at the same pods: leave one of them off
{{- end }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
autoscaling.minReplicas is {{ .minReplicas }} and autoscaling.maxReplicas is {{ .maxReplicas }}: the least may not be more than the most
{{- end }}
{{- if and .keda.enabled (not .keda.serverAddress) }}
autoscaling.keda is enabled and does not know where Prometheus is: set autoscaling.keda.serverAddress, as in http://prometheus.monitoring:9090
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.engines" -}}
{{- with .Values.engineBuild }}
{{- if .enabled }}
{{- if not .jobs }}
engineBuild is enabled and has no jobs: list them under engineBuild.jobs, one for each GPU type
{{- end }}
{{- if not .claimName }}
engineBuild is enabled and has no claim to keep engines and timing caches on: set engineBuild.claimName
{{- end }}
{{- $names := list }}
{{- $plans := dict }}
{{- range .jobs }}
{{- $plan := printf "%s of %s" (include "triton.engineBuildKey" .) (default "the claim's root" (include "triton.engineBuildFolder" (dict "root" $ "job" .))) }}
{{- with ternary "" (index $plans $plan) (has .name $names) }}
engineBuild.jobs has {{ . }} and another one that write the same plan, {{ $plan }}, and would take away each other's: give each a folder of its own
{{- end }}
{{- $_ := set $plans $plan .name }}
{{- if has .name $names }}
engineBuild.jobs has {{ .name }} twice: each Job needs a name of its own
{{- end }}
{{- if and .modelFolder .subPath }}
engineBuild.jobs has {{ .name }} with a modelFolder and a subPath: leave one of them out (subPath counts from the claim's root)
{{- end }}
{{- if or (has ".." (splitList "/" (default "" .modelFolder))) (has "." (splitList "/" (default "" .modelFolder))) (has "" (splitList "/" (default "x" .modelFolder))) }}
engineBuild.jobs has {{ .name }} with the modelFolder {{ .modelFolder | quote }}: it is a version's folder in the repository, as in digits/1
{{- end }}
{{- if and (include "triton.waitsForEngines" $) .gpuProduct $.Values.gpu.product (ne .gpuProduct $.Values.gpu.product) }}
engineBuild.jobs builds {{ .name }} on {{ .gpuProduct }}, and the pods that wait for it run on {{ $.Values.gpu.product }}, which cannot load it: give both the same, or leave the Job's gpuProduct empty
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "triton.check.gateway" -}}
{{- $through := "" }}
{{- if and .Values.service.grpc.enabled (not .Values.service.grpc.headless) }}{{ $through = "service.grpc.headless: false" }}{{ end }}
{{- if .Values.gateway.grpcRoute.enabled }}{{ $through = "gateway.grpcRoute" }}{{ end }}
{{- if and $through (int .Values.server.grpcMaxConnectionAgeMs) }}
{{ $through }} brings gRPC through a proxy, and a server that hangs up on a proxy now and then loses a request: set server.grpcMaxConnectionAgeMs to 0
{{- end }}
{{- with .Values.gateway }}
{{- if and .grpcRoute.enabled (not .grpcRoute.parentRefs) }}
gateway.grpcRoute is enabled and belongs to no Gateway: name it in gateway.grpcRoute.parentRefs, as in [{name: public}]
{{- end }}
{{- if and .httpRoute.enabled (not .httpRoute.parentRefs) }}
gateway.httpRoute is enabled and belongs to no Gateway: name it in gateway.httpRoute.parentRefs, as in [{name: public}]
{{- end }}
{{- if and .grpcRoute.enabled (not $.Values.service.grpc.enabled) }}
gateway.grpcRoute leads to the Service of gRPC, which is off: set service.grpc.enabled to true
{{- end }}
{{- if and .httpRoute.enabled (not $.Values.service.http.enabled) }}
gateway.httpRoute leads to the Service of HTTP, which is off: set service.http.enabled to true
{{- end }}
{{- end }}
{{- end -}}
