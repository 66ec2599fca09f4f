# SPDX-License-Identifier: BSD-3-Clause
# bash completion of uiommu(1)

_uiommu_options()
{
	case $1 in
	copy | compare) echo "--src --dst --len --socket --json --help" ;;
	fill) echo "--dst --len --pattern --socket --json --help" ;;
	crc) echo "--src --len --socket --json --help" ;;
	ls | stat) echo "--socket --json --help" ;;
	fault) echo "--count --socket --json --help" ;;
	doctor) echo "--pid --json --help" ;;
	vm) echo "--setup --again --help" ;;
	*) echo "copy fill crc compare ls stat fault doctor vm --version --help" ;;
	esac
}

# The processes of this user, each with the suffix $2.
_uiommu_pids()
{
	local pids
	pids=$(ps -u "$(id -u)" -o pid= 2>/dev/null | awk -v suffix="$2" '{print $1 suffix}')
	mapfile -t COMPREPLY < <(compgen -W "$pids" -- "$1")
}

_uiommu()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=
	COMPREPLY=()
	[[ $COMP_CWORD -gt 1 ]] && command=${COMP_WORDS[1]}
	case $before in
	--socket)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		compopt -o filenames 2>/dev/null
		;;
	--pid) _uiommu_pids "$word" "" ;;
	--src | --dst)
		_uiommu_pids "$word" ":0x"
		compopt -o nospace 2>/dev/null
		;;
	--len | --pattern | --count) ;;
	*) mapfile -t COMPREPLY < <(compgen -W "$(_uiommu_options "$command")" -- "$word") ;;
	esac
}

complete -F _uiommu uiommu
