# SPDX-License-Identifier: BSD-3-Clause
# bash completion of uiommu(1)

_uiommu_options()
{
	case $1 in
	copy | compare) echo "--src --dst --len --socket --json --help" ;;
	fill) echo "--dst --len --pattern --socket --json --help" ;;
	crc) echo "--src --len --socket --json --help" ;;
	ls) echo "--socket --run --vm --json --help" ;;
	stat) echo "--socket --json --help" ;;
	walk) echo "--device --pasid --vm --json --help" ;;
	fault) echo "--count --socket --vm --json --help" ;;
	doctor) echo "--pid --json --help" ;;
	vm) echo "$(_uiommu_options qemu-args) --setup --again" ;;
	qemu-args)
		echo "--device --memory --cpus --accel --caching-mode --virtual-commands --on-demand --without --kernel --initrd --append --disk --file --module" \
			"--run --qemu --spin-us --seccomp --help --"
		;;
	run) echo "--device --trace --static --check --mock --help --" ;;
	*) echo "copy fill crc compare ls stat fault doctor vm qemu-args run walk --version --help" ;;
	esac
}

# The processes of this user, each with the suffix $2.
_uiommu_pids()
{
	local pids
	pids=$(ps -u "$(id -u)" -o pid= 2>/dev/null | awk -v suffix="$2" '{print $1 suffix}')
	mapfile -t COMPREPLY < <(compgen -W "$pids" -- "$1")
}

# Behind "--" of run: a program, then its arguments, which are anything. False: not there yet.
_uiommu_program()
{
	local word=${COMP_WORDS[COMP_CWORD]} i
	for ((i = 2; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} = -- ]] || continue
		if [[ $i -eq $((COMP_CWORD - 1)) ]]; then
			mapfile -t COMPREPLY < <(compgen -c -- "$word")
		else
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			compopt -o filenames 2>/dev/null
		fi
		return 0
	done
	return 1
}

_uiommu()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=
	COMPREPLY=()
	[[ $COMP_CWORD -gt 1 ]] && command=${COMP_WORDS[1]}
	if [[ $command = run ]] && _uiommu_program; then
		return
	fi
	# Of ls and fault it has no value.
	[[ $before = --vm && $command != walk ]] && before=
	case $before in
	--socket | --trace | --kernel | --initrd | --disk | --file | --module | --qemu)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		compopt -o filenames 2>/dev/null
		;;
	--pid) _uiommu_pids "$word" "" ;;
	--src | --dst)
		_uiommu_pids "$word" ":0x"
		compopt -o nospace 2>/dev/null
		;;
	--accel) mapfile -t COMPREPLY < <(compgen -W "tcg kvm" -- "$word") ;;
	--seccomp) mapfile -t COMPREPLY < <(compgen -W "enforce log off" -- "$word") ;;
	--without)
		mapfile -t COMPREPLY < <(compgen -W "scalable first second nested 5level 1g pasid pri ats pass-through" -- "$word")
		;;
	--vm)
		mapfile -t COMPREPLY < <(compgen -W "$(uiommu ls --vm 2>/dev/null | awk 'NR > 1 { print $1 }' | sort -u)" -- "$word")
		;;
	--device)
		mapfile -t COMPREPLY < <(compgen -W "$(uiommu vm --help 2>/dev/null | sed -nE '/^Devices/,/^$/s/^  ([a-z]+) .*/\1/p')" -- "$word")
		compopt -o nospace 2>/dev/null
		;;
	--len | --pasid | --pattern | --count | --memory | --cpus | --append | --run) ;;
	*) mapfile -t COMPREPLY < <(compgen -W "$(_uiommu_options "$command")" -- "$word") ;;
	esac
}

complete -F _uiommu uiommu
