{{/* What is known of Triton's releases. */}}

{{/* Known holes, each with the first release that is known not to have it. */}}
{{- define "triton.holes" -}}
CVE-2025-23310: 2507
CVE-2025-23311: 2507
CVE-2025-23319: 2507
CVE-2025-23320: 2507
CVE-2025-23334: 2507
CVE-2025-33201: 2607
CVE-2026-24146: 2607
CVE-2026-24173: 2607
CVE-2026-24206: 2607
CVE-2026-24207: 2607
{{- end -}}

{{/* The holes of the release of the image, "CVE-…, CVE-…"; empty where none is known. */}}
{{- define "triton.knownHoles" -}}
{{- $release := include "triton.release" . | atoi -}}
{{- $found := list -}}
{{- range $cve, $clear := include "triton.holes" . | fromYaml -}}
{{- if lt $release (int $clear) }}{{ $found = append $found $cve }}{{ end -}}
{{- end -}}
{{- join ", " (sortAlpha $found) -}}
{{- end -}}

{{/* The oldest release of which it is known that it has all flags but those below. */}}
{{- define "triton.oldestRelease" -}}2410{{- end -}}

{{/* Flags that older servers refuse, with the release that brought them. All others are no newer than 24.10. */}}
{{- define "triton.flagsSince" -}}
allow-client-shm: "26.04"
http-max-input-size: "25.07"
{{- end -}}

{{/* (list $ NAME): "true" where the server knows the flag. Releases compare as numbers: 26.04 is 2604. */}}
{{- define "triton.hasFlag" -}}
{{- $since := index (include "triton.flagsSince" . | fromYaml) (index . 1) | replace "." "" | atoi -}}
{{- if ge (include "triton.release" (index . 0) | atoi) $since }}true{{ end -}}
{{- end -}}
