# The kernel heap for modules. Mirrors mm/slab_common.c, mm/util.c; src/kernel/slab.ts is the allocator.

.section .text

HOST_FUNC __kmalloc
EXPORT_SYMBOL(__kmalloc)
HOST_FUNC __kmalloc_node
EXPORT_SYMBOL(__kmalloc_node)
HOST_FUNC kmalloc_trace
EXPORT_SYMBOL(kmalloc_trace)
HOST_FUNC kmalloc_node_trace
EXPORT_SYMBOL(kmalloc_node_trace)
HOST_FUNC kmalloc_large
EXPORT_SYMBOL(kmalloc_large)
HOST_FUNC krealloc
EXPORT_SYMBOL(krealloc)
HOST_FUNC kfree
EXPORT_SYMBOL(kfree)
HOST_FUNC kfree_sensitive
EXPORT_SYMBOL(kfree_sensitive)
HOST_FUNC ksize
EXPORT_SYMBOL(ksize)
HOST_FUNC kvmalloc_node
EXPORT_SYMBOL(kvmalloc_node)
HOST_FUNC kvfree
EXPORT_SYMBOL(kvfree)
HOST_FUNC vmalloc
EXPORT_SYMBOL(vmalloc)
HOST_FUNC vzalloc
EXPORT_SYMBOL(vzalloc)
HOST_FUNC vfree
EXPORT_SYMBOL(vfree)
HOST_FUNC kstrdup
EXPORT_SYMBOL(kstrdup)
HOST_FUNC kstrndup
EXPORT_SYMBOL(kstrndup)
HOST_FUNC kmemdup
EXPORT_SYMBOL(kmemdup)

# struct kmem_cache *kmalloc_caches[NR_KMALLOC_TYPES][KMALLOC_SHIFT_HIGH + 1]: callers pass one on, nobody
# looks into it.
.section .data
SYM_DATA_START(kmalloc_caches)
	.skip 4 * 14 * 8
SYM_DATA_END(kmalloc_caches)
EXPORT_SYMBOL(kmalloc_caches)
