// Upstream's configuration without what a page of this platform has no use for: tests, and a service worker, which would
// show the page to whoever has no session any more.
import { nerdamerPlugin } from './scripts/vite-plugin-nerdamer';
import { sveltekit } from '@sveltejs/kit/vite';
import tailwindcss from '@tailwindcss/vite';
import { resolve } from 'path';
import { defineConfig, type Plugin } from 'vite';

// What upstream's plugin for service workers would make of these two modules.
const WITHOUT: Record<string, string> = {
	'virtual:pwa-assets/head': 'export const pwaAssetsHead = { links: [], themeColor: undefined };',
	'virtual:pwa-register/svelte': `
		import { writable } from 'svelte/store';
		export const useRegisterSW = () => ({
			needRefresh: writable(false),
			offlineReady: writable(false),
			updateServiceWorker: async () => {}
		});
	`
};

function withoutServiceWorker(): Plugin {
	return {
		load: (id) => (id.startsWith('\0') ? WITHOUT[id.slice(1)] : undefined),
		name: 'betelgeuse:without-service-worker',
		resolveId: (id) => (id in WITHOUT ? `\0${id}` : undefined)
	};
}

export default defineConfig({
	build: { assetsInlineLimit: 32000, chunkSizeWarningLimit: 16384, minify: true },
	plugins: [tailwindcss(), withoutServiceWorker(), sveltekit(), nerdamerPlugin()],
	resolve: { alias: { 'katex-fonts': resolve('node_modules/katex/dist/fonts') } }
});
